"""What a long recording shows, and when: events and hours by class, and the formats in which other tools read them."""
