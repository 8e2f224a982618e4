"""Reports: runs on disk gathered, compared, written and drawn."""
