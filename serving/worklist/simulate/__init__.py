"""A reading pool on the computer, driven by the same ``order.py`` as the service.

``cases`` are the values; ``traffic`` and ``scenarios`` draw them, and recorded ones fit as well;
``policies`` gives each case its place in the line; ``engine`` and ``preemption`` read it empty;
``theory`` is what that must agree with.
"""
