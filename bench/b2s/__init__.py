"""What the service holds inside the limits of a small machine (docker-compose.cpu.yml on an Azure B2s)."""
