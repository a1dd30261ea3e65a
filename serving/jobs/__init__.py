"""Jobs: the queue, leases with fencing tokens, and the engines that analyse."""
