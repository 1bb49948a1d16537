/** Whether only this machine reaches who listens at `host`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

/** What to do where others reach a server that speaks plain HTTP: tokens and messages could be read on the way. */
export const unencryptedAdvice =
  'give --tls-cert and --tls-key, or put a proxy that ends TLS in front and let nobody else reach it'
