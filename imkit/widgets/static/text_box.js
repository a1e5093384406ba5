// TextBox (composer_parts.py): the composer's text box with its size and its button.
export default widgetPart('imkit-box', ({ model, el, saved, label, listen }) => {
    const text = element('textarea', { rows: '2', 'aria-label': label('send_text'), enterkeyhint: 'send' });
    const size = element('span', { 'aria-live': 'polite' });
    const sendButton = element('button', { cls: 'imkit-primary', type: 'button', text: label('send_send') });
    let fits = true, timer = null;

    const askForSize = () => {
        clearTimeout(timer);
        timer = setTimeout(() => model.send({ do: 'typed', text: text.value }), 150);
    };
    const submit = () => {
        if (!text.value.trim() || !fits || text.disabled) return;
        clearTimeout(timer);
        model.send({ do: 'send', text: text.value });
        text.value = '';
        size.textContent = '';
        text.focus();
    };
    // JupyterLab swallows Shift+Enter, so the script inserts the new line itself.
    const insertNewLine = () => {
        // execCommand, so that the user can undo it.
        if (document.execCommand('insertText', false, '\n')) return;
        text.setRangeText('\n', text.selectionStart, text.selectionEnd, 'end');
        askForSize();
    };
    text.addEventListener('input', askForSize);
    text.addEventListener('keydown', event => {
        // isComposing: with an input method for 中文, this Enter only confirms a word.
        if (event.key !== 'Enter' || event.isComposing) return;
        event.preventDefault();
        event.stopPropagation();
        if (event.shiftKey) insertNewLine(); else submit();
    });
    sendButton.addEventListener('click', submit);

    const receive = content => {
        if (content.do === 'size') {
            fits = content.fits;
            size.textContent = text.value ? label(fits ? 'send_size' : 'send_too_large', { n: content.size, most: content.limit }) : '';
            size.className = fits ? '' : 'bad';
            sendButton.disabled = !fits;
        } else if (content.do === 'restore' && !text.value) {
            text.value = content.text;
            askForSize();
        }
    };
    const applyTraits = () => {
        text.placeholder = model.get('placeholder');
        text.disabled = model.get('disabled');
        sendButton.disabled = text.disabled;
    };
    listen('msg:custom', receive);
    listen('change:placeholder change:disabled', applyTraits);
    applyTraits();
    text.value = saved.text ?? model.get('draft');
    el.append(text, element('div', { cls: 'imkit-box-foot' }, size, sendButton));
    return () => {
        clearTimeout(timer);
        saved.text = text.value;
    };
});
