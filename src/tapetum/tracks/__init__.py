"""What concerns tracks of points, whoever made them: metrics, camera motion, exchange with other programs, TAP-Vid files."""
