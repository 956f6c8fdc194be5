"""The compiler: site.yaml and the profiles in, `dist/` out."""
