// Package web holds what the kinds that read web pages have in common: addresses as they may be fetched and shown, the
// head of an answer, the text of a page in any charset, and the forms and images on it. It opens no connection and
// decides nothing about a check. Every page is taken as hostile: what is kept of it is bounded.
package web
