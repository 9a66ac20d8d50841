"""Zoo: trained models that come with Millijoule."""
