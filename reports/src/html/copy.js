for (const button of document.querySelectorAll('[data-copy]')) {
  button.hidden = false;
  button.onclick = () => navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent)
    .then(() => { button.textContent = 'Copied'; }, () => { button.textContent = 'Select it by hand'; });
}
