"""The camera job: from a live stream to live streams and files, unattended."""
