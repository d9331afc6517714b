"""What a trial keeps, in a folder or in object storage."""
