"""Text from elsewhere as it may be shown, stored and opened in a spreadsheet; outputs that never fail."""
