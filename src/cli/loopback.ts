/** Whether only this machine reaches who listens at `host`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

/** Whether others may reach a server without TLS. One that is told which proxies to trust stands behind them. */
export function isUnencrypted({ host, trustedProxies }: { host: string; trustedProxies: readonly string[] }): boolean {
  return !isLoopback(host) && trustedProxies.length === 0
}

/** What to do where others reach a server that speaks plain HTTP: tokens and messages could be read on the way. */
export const unencryptedAdvice =
  'give --tls-cert and --tls-key, or put a proxy that ends TLS in front and let nobody else reach it'
