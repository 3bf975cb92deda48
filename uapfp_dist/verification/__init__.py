"""A verdict on a live suspect: enroll a victim into a kit, ask, judge by the answers."""
