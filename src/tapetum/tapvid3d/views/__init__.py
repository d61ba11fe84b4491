"""3D tracks to look at: a page for the browser (`html`), a picture for reports (`still`), a recording for Rerun."""
