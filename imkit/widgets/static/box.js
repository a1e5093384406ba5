export default part('imkit-box', ({ model, el, kept, say, hear }) => {
    const text = make('textarea', { rows: '2', 'aria-label': say('send_text'), enterkeyhint: 'send' });
    const size = make('span', { 'aria-live': 'polite' });
    const send = make('button', { cls: 'imkit-primary', type: 'button', text: say('send_send') });
    let fits = true, timer = null;

    const type = () => {
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
    text.addEventListener('input', type);
    text.addEventListener('keydown', event => {
        // Enter also ends the choice of a 中文 word: then it is not meant for us.
        if (event.key !== 'Enter' || event.isComposing) return;
        event.preventDefault();
        event.stopPropagation();
        if (!event.shiftKey) submit();
        // As typed, so that it can be undone; in JupyterLab the key alone begins no line.
        else if (!document.execCommand('insertText', false, '\n')) { text.setRangeText('\n', text.selectionStart, text.selectionEnd, 'end'); type(); }
    });
    send.addEventListener('click', submit);

    const told = said => {
        if (said.do === 'size') {
            fits = said.fits;
            size.textContent = text.value ? say(fits ? 'send_size' : 'send_too_large', { n: said.size, most: said.most }) : '';
            size.className = fits ? '' : 'bad';
            send.disabled = !fits;
        } else if (said.do === 'back' && !text.value) { text.value = said.text; type(); }
    };
    const arrange = () => {
        text.placeholder = model.get('placeholder');
        text.disabled = model.get('disabled');
        send.disabled = text.disabled;
    };
    hear('msg:custom', told);
    hear('change:placeholder change:disabled', arrange);
    arrange();
    text.value = kept.text ?? model.get('draft');
    el.append(text, make('div', { cls: 'imkit-box-foot' }, size, send));
    return () => {
        clearTimeout(timer);
        kept.text = text.value;
    };
});
