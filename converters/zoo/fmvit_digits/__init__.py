"""fmvit-digits: a small FMViT for handwritten digits; see the model card, README.md."""
