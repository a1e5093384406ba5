// A password field whose value never becomes a part of the widget's state, and so of no saved notebook: it is told to
// the kernel as a message, and wiped when the kernel has read it.
export default part('imkit-secret', ({ model, el, hear }) => {
    const input = make('input', {
        type: 'password', cls: 'imkit-input', autocomplete: 'new-password', spellcheck: 'false',
        on: {
            input: () => model.send({ secret: input.value }),
            keydown: event => { if (event.key === 'Enter') { event.preventDefault(); model.send({ event: 'submit' }); } },
        },
    });
    const label = make('label', {}, make('span', { cls: 'imkit-label' }), input);
    const name = () => { label.firstChild.textContent = model.get('label'); };
    const told = content => { if (content.wipe) input.value = ''; };
    name();
    hear('change:label', name);
    hear('msg:custom', told);
    el.append(label);
});
