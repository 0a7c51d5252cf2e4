"""What the ranking of songs learns of simulated people, beside popularity and chance."""
