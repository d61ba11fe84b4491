"""Tools for the tracks of any point tracker: metrics, camera motion, exchange with other programs, TAP-Vid files."""
