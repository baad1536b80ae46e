"""Still images: files in, samples out, and back with everything else that was in the file."""
