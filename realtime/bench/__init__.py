"""run_camera.py --bench: how fast a machine is with these networks, and what holds it up."""
