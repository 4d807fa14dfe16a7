"""What is listed: configuration and files of ids, followed while they change."""
