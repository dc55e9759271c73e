"""Raw JSON files to bronze Delta tables: every record once, exactly as it came."""
