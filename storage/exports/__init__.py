"""Files that other projects' training code reads, one module a format."""
