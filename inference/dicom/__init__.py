"""From files to instances, studies and the one series to analyse; pixels are decoded in a child process."""
