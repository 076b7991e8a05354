"""The loops: predict, with workers and locks; train; export."""
