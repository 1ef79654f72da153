//! The manager: a virtual switch and router for the endpoints of an overlay.
