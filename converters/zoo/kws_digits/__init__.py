"""kws-digits: a spiking LMUFormer for the ten spoken English digits; README.md is its card."""
