"""The pages of the dashboard: each turns an address and the index into components, and answers its own controls."""
