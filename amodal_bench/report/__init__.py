"""The report: one folder with a page that opens from disk, with no server and no network."""
