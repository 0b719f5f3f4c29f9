"""The report: pages that open in a browser from the disk, without a server or a network."""
