"""A verdict on a live suspect: enroll a victim into a kit, query the suspect, judge it by its responses."""
