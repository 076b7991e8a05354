"""Tables: what the papers printed, what was measured, side by side and never mixed."""
