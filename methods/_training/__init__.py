"""What every training in this repository shares: the course of epochs, checkpoints, averages, logs."""
