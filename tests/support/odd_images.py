"""Every kind of generated image file that is damaged or odd: those of the three modules register themselves."""

import odd_colours
import odd_contents
import odd_frames
from odd_files import KINDS

__all__ = ["KINDS", "odd_colours", "odd_contents", "odd_frames"]
