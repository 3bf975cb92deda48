"""Between here and there: any 2xx, packed replies, limits by any status, cold starts, certificates, proxies, polling."""
