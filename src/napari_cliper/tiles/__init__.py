"""Large pictures, and small things in pictures of usual size: window by window."""
