"""Nodules put into lungs: shapes of real nodules, seen with the scan's own resolution and noise.

==============  ======================================================================
module          what it does
==============  ======================================================================
``shapes``      outlines of readers, QIN masks and spheres as smooth bodies
``bank``        thousands of them, turned, scaled and blurred once for each thickness
``places``      where in a lung a nodule may lie
``insertion``   blends nodules into HU, and says the truth
``sheet``       a picture to judge insertions by eye
==============  ======================================================================
"""
