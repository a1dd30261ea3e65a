"""From files to instances, studies and the one series to analyse, and to its pixels."""
