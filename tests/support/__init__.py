"""What several tests need: exporters to run, pages to read, truths to compare with."""
