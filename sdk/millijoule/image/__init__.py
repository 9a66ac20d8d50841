"""Image front ends: reading PNG and JPEG, resizing, cropping, normalising, with NumPy alone.

JPEG needs the optional package Pillow.
"""

from .decode import SUFFIXES, decode
from .frontend import ImageFrontend, image_frontend
from .resize import resize

__all__ = ["SUFFIXES", "ImageFrontend", "decode", "image_frontend", "resize"]
