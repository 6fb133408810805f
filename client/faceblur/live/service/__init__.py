"""Many cameras as a service: fleet, status page, metrics, logs."""
