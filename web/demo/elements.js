/** How the page's code gets at its elements. */

/**
 * A copy of the one element in a `<template>`.
 *
 * @param {string} id
 * @returns {HTMLElement}
 */
export function copyOf(id) {
  const template = document.getElementById(id)
  const element = template instanceof HTMLTemplateElement && template.content.firstElementChild?.cloneNode(true)
  if (!(element instanceof HTMLElement)) throw new Error(`index.html has no template ${id}`)
  return element
}

/**
 * The element in `parent` that the page has for sure.
 *
 * @param {ParentNode} parent
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function find(parent, selector) {
  const element = parent.querySelector(selector)
  if (!(element instanceof HTMLElement)) throw new Error(`index.html has no ${selector}`)
  return element
}
