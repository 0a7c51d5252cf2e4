"""What a person does not want to be reminded of: single turns and memories, and topics in their own words."""
