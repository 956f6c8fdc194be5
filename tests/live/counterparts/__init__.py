"""What is at the other end of the ways out that a site opens: real servers, which run outside the platform's pods."""
