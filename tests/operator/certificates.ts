/** Certificates of a test's own, made by the system's openssl. */
import { execFileSync } from 'node:child_process'
import { renameSync } from 'node:fs'
import { get } from 'node:https'
import { text } from 'node:stream/consumers'
import type { TLSSocket } from 'node:tls'
import type { CertificateFiles } from '../../src/transport/certificate.ts'

export const hasOpenssl = (() => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'pipe' })
    return true
  } catch {
    return false
  }
})()

if (!hasOpenssl) console.warn('SKIPPED: no openssl in PATH, so nobody has seen the server speak HTTPS')

/** Makes a certificate for localhost and its key, or puts a new pair in the place of the one there. */
export function makeCertificate(folder: { in(...parts: string[]): string }, days = 30): CertificateFiles {
  const [cert, key] = [folder.in('cert.pem'), folder.in('key.pem')] as const
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', `${days}`]
  const files = ['-keyout', `${key}.new`, '-out', `${cert}.new`]
  execFileSync('openssl', ['req', '-x509', ...kind, ...files, ...subject], { stdio: 'pipe' })
  renameSync(`${key}.new`, key)
  renameSync(`${cert}.new`, cert)
  return { cert, key }
}

/** What a new connection is shown, by its fingerprint, and what `/livez` answers there. Whoever signed it does not matter. */
export function look(url: string): Promise<{ readonly fingerprint: string; readonly answer: string }> {
  return new Promise((resolve, reject) => {
    const request = get(`${url}/livez`, { rejectUnauthorized: false, agent: false }, (answer) => {
      const fingerprint = (answer.socket as TLSSocket).getPeerCertificate().fingerprint256
      text(answer).then((body) => resolve({ fingerprint, answer: body }), reject)
    })
    request.on('error', reject)
  })
}
