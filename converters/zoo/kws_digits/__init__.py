"""kws-digits: a spiking LMUFormer for the ten spoken English digits; see README.md beside this file."""
