/**
 * Who is on this page, from its address: `?user=carol&with=bob` is one person, `?user=carol&user=bob` are two side by side, and nothing
 * is Alice and Bob. Names are users' ids without `user/`, in small letters here so that nobody is two people by accident.
 */

const query = new URLSearchParams(location.search)
const [first = 'alice', second] = query.getAll('user').map((name) => name.trim().toLowerCase())
const other = second ?? query.get('with')?.trim().toLowerCase() ?? (first === 'alice' ? 'bob' : 'alice')

/** Each side of the conversation that this page shows: who writes, and to whom. */
export const sides =
  query.has('user') && second === undefined
    ? [{ me: first, other }]
    : [
        { me: first, other },
        { me: other, other: first },
      ]

/**
 * A user's name as people write it.
 *
 * @param {string} user
 */
export function nameOf(user) {
  return user.slice(0, 1).toUpperCase() + user.slice(1)
}

/** Says at the top of the page who is here, and how to be somebody else. */
export function introduce() {
  const alone = sides.length === 1
  const intro = /** @type {HTMLElement} */ (document.querySelector('#intro'))
  if (alone) {
    document.title = `${nameOf(first)} · Fanfare`
    const both = link('both side by side', [
      ['user', first],
      ['user', other],
    ])
    intro.append(
      `You are ${nameOf(first)}, and write to ${nameOf(other)}. Open `,
      tab(other, first),
      ' in another tab, or ',
      both,
      '.',
    )
  } else {
    intro.append(`${nameOf(first)} and ${nameOf(other)} write to each other through the server on this machine. `)
    intro.append(
      'Watch both sides here, or open ',
      tab(first, other),
      ' and ',
      tab(other, first),
      ' in tabs of their own.',
    )
  }

  const inputs = /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll('#names input'))
  inputs.forEach((input, index) => {
    input.value = nameOf(index === 0 ? first : other)
    input.addEventListener('input', () => {
      const [one, two] = [...inputs].map(({ value }) => value.trim().toLowerCase())
      inputs[1]?.setCustomValidity(one === two ? 'Give two different names.' : '')
    })
  })
}

/**
 * A link to one person's side, for another tab.
 *
 * @param {string} me
 * @param {string} other
 */
function tab(me, other) {
  const anchor = link(nameOf(me), [
    ['user', me],
    ['with', other],
  ])
  anchor.target = '_blank'
  return anchor
}

/**
 * @param {string} text
 * @param {string[][]} parameters
 */
function link(text, parameters) {
  const anchor = document.createElement('a')
  anchor.href = `/?${new URLSearchParams(parameters)}`
  anchor.textContent = text
  return anchor
}
