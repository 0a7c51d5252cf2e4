"""Who somebody is in five broad traits, as they say themselves: shown, corrected and deleted by them."""
