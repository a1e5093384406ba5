// JupyterLab's language where the reader has changed it, else the browser's.
const spoken = () => {
    const lab = document.documentElement.lang;
    return lab && !lab.startsWith('en') ? lab : navigator.language;
};

export default part('imkit-status', ({ model, el, kept, say, hear }) => {
    el.setAttribute('role', 'status');
    const show = () => {
        const gone = Boolean(el.closest('.jupyter-widgets-disconnected'));
        const hint = gone ? '' : model.get('hint');
        el.dataset.tone = gone ? 'gone' : model.get('tone');
        el.replaceChildren(
            make('span', { cls: 'imkit-status-text', text: gone ? say('form_gone') : model.get('text') }),
            ...(hint ? [make('span', { cls: 'imkit-status-hint', text: hint })] : []));
    };
    // The form around this line is marked by JupyterLab, a moment after its parts have been told.
    const live = () => setTimeout(show);
    hear('change:text change:tone change:hint', show);
    hear('comm_live_update', live);
    show();
    // Once a page: two pages that speak two languages would go on correcting each other.
    if (!kept.told) model.send({ language: spoken() });
    kept.told = true;
});
